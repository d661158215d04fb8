FROM a:1 as x
from a:1 AS y
from a:1 as z
FROM a:1 As w
From a:1 as v
