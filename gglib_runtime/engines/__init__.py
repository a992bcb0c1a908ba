"""The engines that run models. Bare, since the embedded engine's process imports it."""
