"""The rules of reports, by use case: what is shown, who is told, who may read."""
