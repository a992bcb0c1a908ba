"""`/admin`: what an administrator sees and changes while gglib runs."""
