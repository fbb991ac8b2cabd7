"""The rules of messaging, by use case: who is in a group, what is said, what is answered."""
