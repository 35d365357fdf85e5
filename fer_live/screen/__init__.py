"""What people see: the overlay, the letters and words on it, the window."""
