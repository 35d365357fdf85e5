"""Outputs of a live run to other programs: OSC, MQTT, LSL, commands, a webhook, a virtual camera. One small file each."""
