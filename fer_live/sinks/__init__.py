"""Where results go: recordings and logs, and how they reach the disk."""
