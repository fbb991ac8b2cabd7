"""The rules of renewals: plain functions over documents, events and the dated policy.

``documents`` what is stored · ``policy`` the dated figures · ``persons`` who may act for
whom · ``accounts`` how renewals are counted · ``facts``, ``chart``, ``rules`` what the rules
look at and say (``parameters``: their figures) · ``replay`` what others would have said ·
``request``, ``doctor``, ``pharmacist``, ``ending`` the ways of a renewal, with ``case`` and
``steps`` for what these share · ``prescribing``, ``records``, ``clinical`` what the hospital
tells (``health`` keeps it) · ``told``, ``views`` what people are told and see.
"""
