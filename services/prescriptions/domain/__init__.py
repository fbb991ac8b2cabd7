"""The rules of renewals: plain functions over documents, events and the dated policy.

``documents`` what is stored · ``policy`` the dated figures · ``persons`` who may act for
whom · ``accounts`` how renewals are counted · ``eligibility`` whether one may be asked
for · ``request``, ``review``, ``ending`` the ways of a renewal · ``facts`` what the
hospital tells.
"""
