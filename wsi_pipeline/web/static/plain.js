import { wireTheme } from "./common.js";

wireTheme();
