"""How do events reach partner systems?"""
