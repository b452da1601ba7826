"""Conversations: what is sent, how it is answered, and where it is kept."""
