"""The rules of renewals: plain functions over documents, events and the dated policy.

``documents`` what is stored · ``policy`` the dated figures · ``persons`` who may act for
whom · ``accounts`` how renewals are counted · ``eligibility`` whether one may be asked
for · ``request``, ``doctor``, ``pharmacist``, ``ending`` the ways of a renewal, with
``case`` and ``steps`` for what these share · ``prescribing``, ``records`` what the
hospital tells · ``told``, ``views`` what people are told and see.
"""
