FROM a:1
FROM --platform=linux/arm64 a:1 AS arm64
FROM b:1
