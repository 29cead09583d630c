"""Units for systemd, and installing them; what is said to systemd while running is not here."""
