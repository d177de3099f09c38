"""The site's own software: a parking's camera, plate detection and MQTT states. It knows nothing of Sightglass."""
