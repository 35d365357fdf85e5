"""Outputs from a live run to other programs: OSC, MQTT, LSL, shell commands, a webhook and a virtual camera."""
