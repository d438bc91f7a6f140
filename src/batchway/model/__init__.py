"""The nouns: frozen values and pure rules."""
