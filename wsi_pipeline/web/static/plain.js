import { byId, wireTheme } from "./common.js";

wireTheme();
if (byId("wrong") && new URLSearchParams(location.search).has("wrong")) byId("wrong").hidden = false;
