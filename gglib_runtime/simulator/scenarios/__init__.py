"""What changes with time: phases of a scenario, one after the other."""
