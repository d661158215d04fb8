FROM --platfrom=x a
FROM --platform a
FROM --platform=a --platform=b c
