"""Launchers that come with mva: Hydra looks for launchers in the namespace `hydra_plugins` alone."""
