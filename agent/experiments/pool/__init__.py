"""Where many runs are made: as processes of this machine."""
