"""The vocabulary of the pretend data: every name, sentence and code that it can contain."""

from typing import Final

PEOPLE: Final = (
    "Ada Lindqvist", "Ben Okafor", "Chiara Moretti", "Dev Anand", "Elif Kaya", "Femke Jansen", "Grace Mbeki",
    "Hugo Peeters", "Ines Duarte", "Jonas Weber", "Kavya Rao", "Liam Byrne", "Maya Cohen", "Noor Haddad",
)  # fmt: skip
GROUPS: Final = ("Morning Commuters", "Quiet Drivers", "Harbour Cyclists", "Team Northside", "Weekend Hikers")
THINGS: Final = ("Blue Lantern", "Copper Kettle", "Paper Boat", "Silver Fern", "Stone Bridge", "Willow Gate")
PLACES: Final = ("Central Station", "Corner Bakery", "Harbour Gym", "City Library", "Riverside Park", "Old Market")
CITIES: Final = ("Antwerp", "Ghent", "Leuven", "Bruges", "Mechelen", "Hasselt")
DISTRICTS: Final = ("Harbour", "Old Town", "Northside", "University Quarter")
COUNTRIES: Final = ("Belgium", "Netherlands", "Luxembourg", "Germany")
STREETS: Final = ("Station Street 12", "Mill Lane 4", "Harbour Road 31", "Garden Avenue 7", "Church Square 2")
REGIONS: Final = ("Flanders", "North Brabant", "Limburg", "Rhineland")
CITY_TYPES: Final = ("city", "town", "village")
ROADS: Final = ("motorway", "primary", "residential", "secondary")
VENUES: Final = ("office", "restaurant", "sport", "shop", "leisure", "education")
SKIES: Final = ("Clear", "Partly cloudy", "Light rain", "Overcast", "Fog")
ICONS: Final = ("clear-day", "partly-cloudy-day", "rain", "cloudy", "fog")
MODES: Final = ("car", "walking", "biking", "train", "bus")
STATES: Final = ("active", "in_progress", "completed")
ROLES: Final = ("member", "admin", "guest")
SIGNIFICANCES: Final = ("home", "work", "regular")
FORMATS: Final = ("parquet", "csv.gz", "json.gz")
VERSIONS: Final = ("14.2", "15.0", "16.1", "17.4")
CATEGORIES: Final = ("mobility", "leisure", "work", "home")
DEFINITIONS: Final = ("morning_commute", "evening_commute", "lunch_break", "dog_walk", "school_run", "late_worker")
EXPORTS: Final = ("transports", "crash-events", "driving-scores", "daily-users")
MESSAGES: Final = (
    "Nice and smooth: your last five trips had no hard braking.",
    "You are one trip away from your next badge.",
    "Three days in a row without touching the phone. Keep going!",
    "A new challenge is waiting for you.",
    "Your attention score went up this week.",
)
DESCRIPTIONS: Final = (
    "Drive ten trips without picking up the phone.",
    "Keep to the speed limit for a whole week.",
    "Travels to the same place on most weekday mornings.",
    "Prefers the bicycle for short distances.",
    "Spends most evenings at home.",
)
PHRASES: Final = ("quiet harbour", "early train", "green corridor", "short detour", "familiar road", "open window")
