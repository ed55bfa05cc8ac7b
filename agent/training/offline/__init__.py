"""Learning from recorded episodes."""
