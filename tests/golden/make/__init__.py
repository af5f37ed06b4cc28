"""Makes the goldens from the public implementation; `golden --help` is the command."""
