"""Every command that writes, on a disk that becomes full."""
