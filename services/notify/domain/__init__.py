"""Which rules decide who is told what, and by which channel?"""
