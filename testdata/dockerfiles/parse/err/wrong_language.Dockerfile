<!DOCTYPE html>
<html>
</html>
