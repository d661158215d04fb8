#check=error=true;skip=ConsistentInstructionCasing
FROM a as base
copy a b
