ARG tag=1
FROM a:${tag}${version} AS b
FROM --platform=$BULIDPLATFORM b
FROM --platform=$BUILDPLATFORM a:$tag
FROM scra${DEBUG:-tch}
