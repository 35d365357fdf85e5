"""The kiosk: its screen, its visitors, its sign of life, and `python -m fer_live.kiosk`, which installs it."""
