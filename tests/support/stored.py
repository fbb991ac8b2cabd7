"""What stands in a service's database, as it was before it was sealed?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from libs.common.cipher import Place, sealed_fields
from libs.common.decision import Document
from libs.common.mongo.collection import CollectionSpec
from libs.common.mongo.database import Database
from libs.common.mongo.documents import Row, sealed


async def rows(
    database: Database,
    collections: Sequence[CollectionSpec[Any]],
    name: str,
    where: Mapping[str, Any],
) -> list[Row]:
    """Rows of a collection of the service, or of the runtime's own, which are as they are."""
    found = await database.find_rows(database.raw(name), dict(where))
    for spec in collections:
        if name == spec.model.COLLECTION:
            return [database.collection(spec).opened(row) for row in found]
    return found


async def change(
    database: Database, spec: CollectionSpec[Any], hospital: str, id: str, **fields: Any
) -> None:
    """Behind the service's back."""
    model: type[Document] = spec.model
    name, whole = model.COLLECTION, f"{hospital}/{id}"
    for field in sealed_fields(model) & fields.keys():
        fields[field] = sealed(fields[field], Place(name, whole, field), database.cipher)
    await database.update_row(database.raw(name), {"_id": whole}, {"$set": fields})
