"""How do people read their inbox, and operators what became of a notification?"""
