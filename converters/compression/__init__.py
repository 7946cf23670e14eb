"""Models with fewer channels: which ones hang together, which matter least, and the proof that a cut did no more than that."""
