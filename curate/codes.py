"""The stable codes of findings: one line each, so that a report can be counted, filtered and looked up.

Codes are grouped by letter: F file and text, S schema, R ids and references, B boxes, M masks and polygons, I images,
P paths, Q queries, gallery and splits, A ``anns.pt``, L Label Studio, N what an import noticed, E results that are to
be scored, V tables and files that were written, X archives. As a severity E stops a release and gives exit code 1, W is
reported, I is counted. Rules yield findings with these codes; sources use the same codes at import.
"""

from __future__ import annotations

from typing import Literal

Severity = Literal["error", "warning", "info"]

_SEVERITY: dict[str, Severity] = {"E": "error", "W": "warning", "I": "info"}

_TABLE = """
F01 E missing, empty or not a regular file
F02 E larger than the limit
F03 E not UTF-8 text
F04 E malformed or truncated text
F05 E nested too deeply
F06 E key stands twice in one object
F07 E NaN, Infinity or a number too large for a float
F08 E integer beyond 64 bits
F09 E another kind of file than its name says
F10 W control or invisible characters in a string
S01 E required field missing or of the wrong type
S02 E true/false or text where a number belongs
S03 E schema version missing, unreadable or newer
S04 I older schema version
S05 I unknown field
R01 E id stands twice
R02 E reference to an image or category that is not there
R03 W reference to a row that is not there
R04 E id empty, negative or of the wrong type
R05 W category names equal but for case or spaces
R06 E chain of parents is a circle
R07 W one file under several image ids
R08 I image without annotation in a split said to be exhaustive
R09 W two annotations alike
R10 E category not declared, or never used
B01 E box not four finite numbers
B02 E box of negative width or height
B03 W box without area
B04 W box partly outside the frame
B05 E box wholly outside the frame
B06 E boxes look like corners instead of width and height
B07 W boxes overrun the frame by one pixel throughout
B08 W box and mask disagree
B09 W stored area differs from the mask
B10 I box of extreme shape or size
B11 E object larger than the size filter allows
M01 E polygon malformed
M02 E polygon vertex not finite or far outside
M03 W polygon crosses itself or leaves the frame
M04 E run lengths of a mask do not fill its frame
M05 E mask and image differ in size
M06 E mask larger than the limit
M07 E crowd flag not 0 or 1
M08 I masks of mixed kinds
M09 W mask empty
M10 W mask picture of an unusual kind
M11 E brush mask malformed
I01 E image file missing
I02 E image size differs from the record
I03 E image too large or of zero size
I04 E image does not decode
I05 W content differs from the file name
I06 W image is stored turned (EXIF)
I07 E text or placeholder instead of an image
I08 W files of equal content
I09 E image file differs from its recorded hash
P01 E path absolute, escaping or malformed
P02 E address where a file belongs
P03 E link that leaves the root
P04 W file names that collide on other systems
Q01 E query image stands in the gallery
Q02 E query without positive
Q03 E image in two splits
Q04 E counts differ from the declared ones
Q05 E image judged positive and not
Q06 E distractor as young as what is searched for
Q07 E truth where labels are withheld
Q08 E support image stands in the gallery
Q09 W negative that nobody looked for
Q10 W hidden truth that public labels imply
Q11 W class that is not in every split
Q12 W support set smaller than asked
A01 E pickle asks for a forbidden global
A02 E entry malformed
A03 E parallel lists differ in length
A04 E query with more than one box or mask
A05 E box not ordered, finite and within the frame
A06 E unknown set
A07 W key absolute
A08 W numpy numbers instead of plain ones
A09 W empty query mask with whole-frame box
L01 E annotation or region twice in Label Studio
L02 E skipped, unsent or suggested work taken as truth
L03 E frame of a region differs from the image
L04 W region leaves its image
L05 W region turned
L06 E label or control that the round does not have
L07 E empty and not annotated mixed up
L08 E token or e-mail address in an output
L09 W clock or author of an annotation cannot be right
N01 W label not in the source's label table
N02 W annotation left out
N03 W image left out
N04 I counts differ from the published ones
N05 I oddity kept as found
N06 W datasets differ over a class
N07 W relevance rules differ
E01 E score not a finite number
E02 W query of results that the truth does not have
E03 W query without results
E04 W item of another split
E05 W item that is not in the gallery
E06 W item twice in one list
E07 W list empty or shorter than the gallery or the cut
E08 E query twice in results
E09 W items that were never judged
E10 W query of a truth without positive
V01 E table or file missing, changed or unlisted since it was written
V02 E list of checksums malformed
V03 W left-over partial file
V04 E export of a release that its tables do not give again
V05 E licence of a source not stated
V06 E counts that a release states differ from its tables
X01 E archive member that leads out of the archive
X02 E archive that grows too large
X03 E archive member twice, encrypted or damaged
"""


def _parse(table: str) -> dict[str, tuple[Severity, str]]:
    rows = (line.split(" ", 2) for line in table.strip().splitlines())
    return {code: (_SEVERITY[letter], title) for code, letter, title in rows}


CODES: dict[str, tuple[Severity, str]] = _parse(_TABLE)
