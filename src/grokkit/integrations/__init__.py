"""Callbacks for other people's trainers. Each module imports its framework; importing grokkit imports none."""
