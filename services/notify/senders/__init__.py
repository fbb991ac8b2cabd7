"""How do notifications leave the house?"""
