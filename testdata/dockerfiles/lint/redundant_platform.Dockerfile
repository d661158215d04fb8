FROM --platform=$TARGETPLATFORM a:1
FROM --platform=${TARGETPLATFORM} a:1
FROM --platform=$TARGETOS/$TARGETARCH a:1
# check=skip=RedundantTargetPlatform
FROM --platform=$TARGETPLATFORM a:1
