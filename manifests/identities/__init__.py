"""Estimated identities: who is filmed, how sure that is, and the pairs that a person settled."""
