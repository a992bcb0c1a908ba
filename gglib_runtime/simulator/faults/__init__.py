"""What goes wrong with answers: the description of faults, whom they strike, and spoilt bytes."""
