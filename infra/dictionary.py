"""What messages have in common, as a preset dictionary for their compression: one claim alone is mostly names.

A released dictionary never changes: what was compressed with it is read with it. A better one is another version.
"""

from __future__ import annotations

import zlib

# The commonest stand last: deflate points back to them with the fewest bits.
MESSAGES = (
    b"disease: registration_kind: medical_type: transferred_from: unfiled delivery prescription referral emergency"
    b" civil_servant enterprise large_amount serious_illness assistance resident "
    + "个人账户余额由 元变为 元；起付线累计由 统筹支付由 元改为 现金由 费用明细有 笔未通过效验，退回更正".encode()
    + b" policy-stale catalogue-stale person-unknown entitlement-suspended case-not-covered lines-failed busy frozen"
    b"\xa8outcomes\x91\x98 prepared confirmed refused unknown prepare.asked outcome.decided person.asked"
    b"person.answered\x01\x82\xacentitlements\x91\xb0settling_locally\x90"
    b"detail.uploaded\x01 detail.received\x01\x81\xa8receipts\x91"
    b"\x93\xacutcome.told\x01\x81\xaflines.submitted\x01\x82\xa7prepare\xc2\xa6claims\x91\x9a"
    b"fund:serious_illness\xb2fund:civil_servant\xb1fund:large_amount\xabinstitution\xaefamily_account\xa7account"
    b"\x93\xa8over_cap\xa6person\x93\xabown_expense\xa7account\x93\xa6shared\xa7account\x93\xaadeductible\xa7account"
    b"\xb3basic:1:stays:-:2026\xb7basic:1:deductible:-:stay\xb2basic:1:fund:-:2026\xb2basic:2:fund:-:2026"
    b"\x93\xaeclaims.answered\x01\x81\xa7answers\x91\xdc\x00\x14\xb0\x01\xa0\xa0\xce\x00\xcd\xcd\xcd\x00\x00\xcd\x00\x00"
    b"\xd9\x202026-11-22T09:30:00.000000+08:00\xd9\x192026-01-02T09:30:00+08:00\xaa2026-12-31\xaa2026-11-2"
    b"\x96\x93\xabown_expense\xa6person\xcd\x93\xb0over_price_limit\xa6person\xcd\x93\xacpre_self_pay\xa6person\xcd"
    b"\x93\xaadeductible\xa6person\xcd\x93\xa6shared\xaafund:basic\xcd\x93\xa6shared\xa6person\xcd"
    b"\x92\x93\xb9basic:3:deductible:-:2026\x00\xcd\x93\xb3basic:3:fund:-:2026\xce\x00"
    b"\xa8employee\xa11\xa0"
    b"\x93\xb0totals.submitted\x01\x83\xaepolicy_version\xb6guangzhou_2024@\xb1catalogue_version\xab2026-03-v"
    b"\xa6claims\x91\x9d\xac440100000001\xb0H00001260302\x01\xb2440101198\xa13\xaa2026-03-02"
    b"\xce\x00\x00\xcd\x00\x00\xcd\x00\xcd\xce\x00\x05\xc4\x10"
)
HEADS = (
    b"{'frontend': '', 'persons': 1, 'documents': 1, 'windows': 'lines': 1, 'clearings': 1, 'day': '2026-"
    b"reference.ask\nadmin\nreference.keep\nterms.ask\nadmin\nterms.keep\ndetails.confirm\ndetails.receive\ndetails\n"
    b"persons.ask\nadmin\npersons.answer\noutcomes.ask\noutcomes.tell\nclaims.prepare\nclaims.refund\n"
    b"claims.settle_lines\nsettle\n{'frontend': 'uploads.claims.deliver\nresults.\n{'frontend': '"
    b"claims.settle\nsettle\n{'frontend': 'hospital', 'claims': 1, 'institution': '440100000001',"
    b" 'visit': 'H00001260302'}"
)
"""The same for what Celery says around them."""
_WINDOW = -15
"""Deflate without header and check sum: the seal tells what was changed, and the dictionary is known."""
_SHORT, _SMALL = 2048, (-12, 5)
_LARGE = (_WINDOW, 8)
"""Window and memory: setting up the large one costs fifty microseconds, which a message of one claim has no use for."""
LEVEL = 6


def deflate(content: bytes, dictionary: bytes) -> bytes:
    """The content, compressed against the dictionary."""
    window, memory = _SMALL if len(content) < _SHORT else _LARGE
    deflater = zlib.compressobj(LEVEL, zlib.DEFLATED, window, memory, zlib.Z_DEFAULT_STRATEGY, dictionary)
    return deflater.compress(content) + deflater.flush()


def inflate(compressed: bytes, dictionary: bytes, most: int) -> bytes | None:
    """What `deflate` was given; None where it is more than `most` bytes, or cut short. Raises zlib.error."""
    inflater = zlib.decompressobj(_WINDOW, zdict=dictionary)
    content = inflater.decompress(compressed, most)
    return content if inflater.eof and not inflater.unconsumed_tail else None
