"""On-screen output: overlay, text and emoji rendering, and the window."""
