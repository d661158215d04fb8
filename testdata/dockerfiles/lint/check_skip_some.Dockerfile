#check=skip=ConsistentInstructionCasing,UnpinnedBaseImage
FROM a as base
copy a b
