"""What stops the demo, said so that a person knows what to do next."""


class Trouble(Exception):
    """The demo cannot go on; the message says why and, where there is one, the remedy."""
