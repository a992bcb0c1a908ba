"""How long things take: distributions, profiles of models, and the pace of one answer."""
