"""What `gglib doctor` looks at. Every check only looks: none makes, mends or ends anything."""
