FROM scratch
VOLUME
VOLUME [""]
VOLUME []
VOLUME ["a", " "]
