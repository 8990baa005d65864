"""What runs on execution points: the probe of STARTD_CRON, the wrapper of LIBVIRT_XML_SCRIPT. No Python."""
