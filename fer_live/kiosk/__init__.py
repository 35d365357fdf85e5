"""The kiosk: its screen, visitors, consent and systemd integration; `python -m fer_live.kiosk` installs it."""
