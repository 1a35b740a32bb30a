"""What an experiment's YAML can contain, section by section, and how it is read."""
