# build makes it
# other
FROM scratch AS build
#
# run is cut off
#
FROM build AS run
