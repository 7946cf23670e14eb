"""What Enginesmith does, as functions: they print nothing, and tell what goes on by events. The command line shows it."""
