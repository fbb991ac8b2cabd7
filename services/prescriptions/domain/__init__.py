"""The rules of renewals: plain functions over documents, events and the dated policy.

What is kept: ``documents``, and of what others tell ``health``, ``fulfilment``, ``results``,
``staff`` · ``policy`` the dated figures, ``parameters`` their shapes ·
``pharmacies`` where they are and when open.

What the rules say: ``facts``, ``chart`` what they look at · ``rules`` each of them ·
``accounts`` how renewals are counted · ``persons`` who may act for whom · ``replay`` what
others would have said · ``history`` whether what is stored can have come about.

The ways of a renewal: ``transitions`` all of them, ``reasons`` why not · ``request``,
``consenting``, ``choosing`` the patient's side · ``doctor``, with ``changing`` what may differ
and ``approval`` what is signed · ``pharmacist`` · ``saying`` in which words no · ``ending``
nobody's decision · ``dispensing``, ``following`` the pharmacies' · ``case`` what the decisions
share, ``steps`` how each goes through the table.

With whom it lies: ``assignment``, ``assigning`` claims and hand-overs · ``attention`` reminders.

Clinical checks: ``checking`` what is asked and when an answer counts · ``checks`` its words ·
``rule_set``, ``local_checks`` those of our own, ``substances`` what a combination holds.
Signatures: ``form`` the text, ``signatures``.

What others tell: ``issuing``, with ``reissued`` what is told again, ``origin`` whose copy it is and
``dosing`` whether it is another · ``prescribing``, ``records``, ``clinical`` · ``consequences``
what follows from it at once.

What people get: ``receipt`` the answer to a command · ``told`` what is pushed · ``renewable``
what may be asked for, ``instead`` what to do if not · ``views`` a renewal, ``around`` what
staff see beside it, ``check_views`` the checks, ``fulfilment_view`` the medicine · ``listing``,
``counts`` work lists.
"""
